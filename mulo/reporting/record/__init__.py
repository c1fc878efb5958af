"""Records of sweeps: what is stored of one, and the README, page and pictures that follow from that alone."""

from mulo.reporting.record.contents import Job, Loss, Movement, Preparation, Record
from mulo.reporting.record.store import is_record, read, write
from mulo.reporting.record.write_up import write_up

__all__ = ["Job", "Loss", "Movement", "Preparation", "Record", "is_record", "read", "write", "write_up"]
