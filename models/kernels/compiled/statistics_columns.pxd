"""Columns of the statistics' times, and the decay of counts."""

from libc.math cimport INFINITY, exp2

cdef enum:
    PUBLISHED = 0
    FIRST_SEEN = 1
    LAST_EVENT = 2
    LAST_CLICK = 3
    TIMES = 4


cdef inline double left_after(double rate_per_s, double age_s) noexcept:
    return exp2(-age_s * rate_per_s) if 0.0 < age_s < INFINITY else 1.0
