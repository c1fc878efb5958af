"""What a start of a job leaves in files and signals: its directory, its status, its events, its locks, its stop."""
