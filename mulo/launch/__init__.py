"""From the command line to jobs that run: what is refused, one start of a job, and the launching process of a sweep."""
