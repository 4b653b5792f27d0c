"""Eight threads that all want the GIL."""

from _pool import Pool

work = Pool(workers=8, idlers=0).work
