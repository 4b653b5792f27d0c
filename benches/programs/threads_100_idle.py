"""A hundred threads, of which 95 wait for ever and five want the GIL."""

from _pool import Pool

POOL = Pool(workers=5, idlers=95)
work = POOL.work
