"""Records of sweeps and jobs: what is stored of one, and the README, page and pictures that follow from that alone."""

from mulo.reporting.record.contents import Job, Preparation, Record
from mulo.reporting.record.store import is_record, read, write
from mulo.reporting.record.write_up import write_up, write_up_job

__all__ = ["Job", "Preparation", "Record", "is_record", "read", "write", "write_up", "write_up_job"]
