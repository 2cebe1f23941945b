# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Counting kernels in Cython; in_numpy/counts.py defines each of them."""

cimport numpy as cnp
from arrays cimport data_of, int32, int64, length_of, refuse_rows_outside
from libc.math cimport log1p, sqrt
from libc.stdlib cimport free, malloc
from statistics_columns cimport FIRST_SEEN, LAST_CLICK, LAST_EVENT, TIMES, left_after

from freshet.models.kernels import priors as feature_priors

cnp.import_array()

cdef double CO_CLICK_PRIOR_CLICKS = feature_priors.CO_CLICK_PRIOR_CLICKS


def count_slate(
    cnp.ndarray rows not None,
    cnp.ndarray clicked not None,
    double time_s,
    cnp.ndarray counts not None,
    cnp.ndarray times_s not None,
    cnp.ndarray has_clicks not None,
    cnp.ndarray rates_per_s not None,
    cnp.ndarray sums not None,
    double newest_s,
):
    cdef Py_ssize_t n = length_of(rows, 0), heads = length_of(rates_per_s, 0)
    cdef Py_ssize_t capacity = length_of(counts, 0), columns = 3 * heads, i, h, clicks = 0
    cdef int64 *row = <int64 *>data_of(rows, cnp.NPY_INT64, 1, n, 0)
    cdef cnp.npy_bool *is_clicked = <cnp.npy_bool *>data_of(clicked, cnp.NPY_BOOL, 1, n, 0)
    cdef cnp.npy_bool *was_clicked = <cnp.npy_bool *>data_of(has_clicks, cnp.NPY_BOOL, 1, capacity, 0)
    cdef double *all_counts = <double *>data_of(counts, cnp.NPY_FLOAT64, 2, capacity, columns)
    cdef double *all_times = <double *>data_of(times_s, cnp.NPY_FLOAT64, 2, capacity, TIMES)
    cdef double *rates = <double *>data_of(rates_per_s, cnp.NPY_FLOAT64, 1, heads, 0)
    cdef double *sum_of = <double *>data_of(sums, cnp.NPY_FLOAT64, 2, 3, heads)
    cdef double expected = 1.0 / n if n else 0.0, ahead_s, left, weight
    cdef double *count
    cdef double *time
    refuse_rows_outside(row, n, 0, capacity)
    # Counts decay up to a newer event (left < 1); a late event is added with its true age (weight < 1).
    for i in range(n):
        count = all_counts + row[i] * columns
        time = all_times + row[i] * TIMES
        ahead_s = time_s - time[LAST_EVENT]
        for h in range(heads):
            left = left_after(rates[h], ahead_s)
            weight = left_after(rates[h], -ahead_s)
            count[h] = count[h] * left + (weight if is_clicked[i] else 0.0)
            count[heads + h] = count[heads + h] * left + weight
            count[2 * heads + h] = count[2 * heads + h] * left + weight * expected
        if not ahead_s < 0.0:
            time[LAST_EVENT] = time_s
        if not time[FIRST_SEEN] <= time_s:
            time[FIRST_SEEN] = time_s
        if is_clicked[i]:
            clicks += 1
            was_clicked[row[i]] = 1
            if not time[LAST_CLICK] >= time_s:
                time[LAST_CLICK] = time_s
    # Sums over all rows, (3, H).
    for h in range(heads):
        left = left_after(rates[h], time_s - newest_s)
        weight = left_after(rates[h], newest_s - time_s)
        sum_of[h] = sum_of[h] * left + weight * clicks
        sum_of[heads + h] = sum_of[heads + h] * left + weight * n
        sum_of[2 * heads + h] = sum_of[2 * heads + h] * left + weight
    return max(newest_s, time_s)


def add_co_clicks(cnp.ndarray held not None, cnp.ndarray context not None, cnp.ndarray of_contexts not None):
    cdef Py_ssize_t k = length_of(held, 1)
    cdef Py_ssize_t m = length_of(context, 0), i, j, joined = 0
    cdef int32 *numbers = <int32 *>data_of(held, cnp.NPY_INT32, 2, 2, k)
    cdef int64 *before = <int64 *>data_of(context, cnp.NPY_INT64, 1, m, 0)
    cdef Py_ssize_t capacity = length_of(of_contexts, 0)
    cdef int64 *clicks_after = <int64 *>data_of(of_contexts, cnp.NPY_INT64, 1, capacity, 0)
    cdef int32 *counts = numbers + k
    cdef cnp.npy_intp[2] shape
    cdef cnp.ndarray grown
    cdef int32 *out
    refuse_rows_outside(before, m, 0, capacity)
    cdef int32 *new = <int32 *>malloc(m * sizeof(int32) + 1)
    if new is NULL:
        raise MemoryError
    # Contexts that are held get 1 more, the others are collected in new.
    for j in range(m):
        clicks_after[before[j]] += 1
        for i in range(k):
            if numbers[i] == before[j]:
                counts[i] += 1
                break
        else:
            new[joined] = <int32>before[j]
            joined += 1
    if not joined:
        free(new)
        return held
    # Rows of the result: numbers, then counts.
    shape[0], shape[1] = 2, k + joined
    grown = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT32, 0)
    out = <int32 *>cnp.PyArray_DATA(grown)
    for i in range(k):
        out[i] = numbers[i]
        out[k + joined + i] = counts[i]
    for j in range(joined):
        out[k + j] = new[j]
        out[k + joined + k + j] = 1
    free(new)
    return grown


def co_click_scores(
    list contexts not None,
    cnp.ndarray recent not None,
    cnp.ndarray of_contexts not None,
    cnp.ndarray clicks not None,
    double all_clicks,
):
    cdef Py_ssize_t n = len(contexts), m = length_of(recent, 0), slots = 8, i, j, k, held, slot, mask
    cdef int64 *number_of = <int64 *>data_of(recent, cnp.NPY_INT64, 1, m, 0)
    cdef Py_ssize_t numbers = length_of(of_contexts, 0)
    cdef int64 *clicks_after = <int64 *>data_of(of_contexts, cnp.NPY_INT64, 1, numbers, 0)
    cdef double *clicks_on = <double *>data_of(clicks, cnp.NPY_FLOAT64, 1, n, 0)
    cdef int32 *number
    cdef int32 *count
    cdef double *out = NULL
    cdef double scale, surprise, cosine
    cdef cnp.ndarray counts, scores = None
    cdef cnp.npy_intp[2] shape
    cdef bint shared
    refuse_rows_outside(number_of, m, -1, numbers)
    # Large enough that most numbers hit an empty slot at once.
    while slots < 16 * m:
        slots *= 2
    mask = slots - 1
    # A hash table of the user's clicks by number; found holds the current candidate's count of each click.
    cdef int32 *table = <int32 *>malloc(slots * sizeof(int32))
    cdef double *lifts = <double *>malloc(3 * m * sizeof(double) + 1)
    cdef double *roots = lifts + m
    cdef double *found = roots + m
    try:
        if table is NULL or lifts is NULL:
            raise MemoryError
        for slot in range(slots):
            table[slot] = -1
        for j in range(m):
            found[j] = 0.0
            if number_of[j] < 0:
                continue
            slot = number_of[j] & mask
            while table[slot] >= 0:
                slot = (slot + 1) & mask
            table[slot] = <int32>j
            lifts[j] = all_clicks / (clicks_after[number_of[j]] + CO_CLICK_PRIOR_CLICKS)
            roots[j] = 1.0 / sqrt(clicks_after[number_of[j]] + 1.0)
        for i in range(n):
            if contexts[i] is None:
                continue
            counts = contexts[i]
            number = <int32 *>data_of(counts, cnp.NPY_INT32, 2, 2, -1)
            held = length_of(counts, 1)
            count = number + held
            shared = False
            for k in range(held):
                slot = number[k] & mask
                while table[slot] >= 0:
                    if number_of[table[slot]] == number[k]:
                        found[table[slot]] = count[k]
                        shared = True
                        break
                    slot = (slot + 1) & mask
            if not shared:
                continue
            if scores is None:
                shape[0], shape[1] = n, 2
                scores = cnp.PyArray_ZEROS(2, shape, cnp.NPY_FLOAT64, 0)
                out = <double *>cnp.PyArray_DATA(scores)
            scale = 1.0 / (clicks_on[i] + CO_CLICK_PRIOR_CLICKS)
            surprise = cosine = 0.0
            # Sums run in the order of the user's clicks, so that floats are rounded alike in every process.
            for j in range(m):
                if found[j] != 0.0:
                    surprise += log1p(found[j] * lifts[j] * scale)
                    cosine += found[j] * roots[j]
                    found[j] = 0.0
            out[2 * i] = surprise
            out[2 * i + 1] = cosine / sqrt(clicks_on[i] + 1.0)
    finally:
        free(table)
        free(lifts)
    return scores
