"""What `run.py` and `ticks.py` are made of; nothing here runs inside a measured process."""
