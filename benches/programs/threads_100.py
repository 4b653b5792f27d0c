"""A hundred threads that take turns with the GIL."""

from _pool import Pool

work = Pool(workers=100, idlers=0).work
