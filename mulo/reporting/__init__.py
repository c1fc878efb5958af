"""What people read of a job: metrics, progress, tables and pictures, all from the same records."""
