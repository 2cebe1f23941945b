# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The kernels in Cython; in_numpy.py says what each of them does.

Arrays are read and written through plain pointers: a typed memoryview costs half a microsecond, as much as
what is done with most of these arrays. So each function first checks types and shapes, and each number that
is used as an index.
"""

from zlib import crc32

import numpy as np

cimport numpy as cnp
from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport PyObject
from libc.math cimport INFINITY, exp, exp2, isfinite, isnan, log, log1p, sqrt
from libc.stdlib cimport free, malloc

from freshet.models import feature_priors

cnp.import_array()

cdef double PRIOR_IMPRESSIONS = feature_priors.PRIOR_IMPRESSIONS
cdef double PRIOR_LIFT = feature_priors.PRIOR_LIFT
cdef double PRIOR_EXPECTED = feature_priors.PRIOR_EXPECTED
cdef double TREND_PRIOR = feature_priors.TREND_PRIOR
cdef double GLOBAL_PRIOR_CLICKS = feature_priors.GLOBAL_PRIOR_CLICKS
cdef double GLOBAL_PRIOR_IMPRESSIONS = feature_priors.GLOBAL_PRIOR_IMPRESSIONS
cdef double AFFINITY_HALF_LIFE_S = feature_priors.AFFINITY_HALF_LIFE_S
cdef double AFFINITY_PRIOR_CLICKS = feature_priors.AFFINITY_PRIOR_CLICKS
cdef double CO_CLICK_PRIOR_CLICKS = feature_priors.CO_CLICK_PRIOR_CLICKS
cdef double AGE_SCALE = 1.0 / log(25.0)

ctypedef cnp.int64_t int64
ctypedef cnp.int32_t int32

cdef enum:
    PUBLISHED = 0
    FIRST_SEEN = 1
    LAST_EVENT = 2
    LAST_CLICK = 3
    TIMES = 4
    HEADS = 4
    STATISTICS = 17
    CATEGORIES = 3
    # Slates up to this size are sorted by insertion.
    MAX_INSERTED = 200


cdef void *data_of(cnp.ndarray array, int type_number, int rank, Py_ssize_t rows, Py_ssize_t columns) except NULL:
    """Where an array's numbers are; of another type, order or shape (-1: any) it is refused."""
    if cnp.PyArray_TYPE(array) != type_number or not cnp.PyArray_IS_C_CONTIGUOUS(array):
        raise TypeError(f"an array of {array.dtype} that a kernel does not read, or not in C's order")
    if (
        cnp.PyArray_NDIM(array) != rank
        or (rows >= 0 and cnp.PyArray_DIM(array, 0) != rows)
        or (rank > 1 and columns >= 0 and cnp.PyArray_DIM(array, 1) != columns)
    ):
        raise ValueError(f"an array of shape {(<object>array).shape}, must be {(rows, columns)[:rank]}")
    return cnp.PyArray_DATA(array)


cdef int refuse_rows_outside(const int64 *rows, Py_ssize_t n, int64 first, Py_ssize_t capacity) except -1:
    cdef Py_ssize_t i
    for i in range(n):
        if not first <= rows[i] < capacity:
            raise IndexError(f"row {rows[i]} is not between {first} and {capacity - 1}")
    return 0


cdef inline double left_after(double rate_per_s, double age_s) noexcept:
    return exp2(-age_s * rate_per_s) if 0.0 < age_s < INFINITY else 1.0


def rows_of(dict row_of not None, ids not None):
    cdef list names = ids if type(ids) is list else list(ids)
    cdef cnp.npy_intp n = len(names), i
    cdef cnp.ndarray rows = cnp.PyArray_EMPTY(1, &n, cnp.NPY_INT64, 0)
    cdef int64 *out = <int64 *>cnp.PyArray_DATA(rows)
    cdef PyObject *row
    for i in range(n):
        row = PyDict_GetItem(row_of, names[i])
        out[i] = -1 if row is NULL else <int64>(<object>row)
    return rows


def canonical_order(ids not None, dict keys not None):
    cdef list names = list(set(ids))
    cdef Py_ssize_t n = len(names), i, place
    cdef int64 *key = <int64 *>malloc(n * sizeof(int64) + 1)
    cdef Py_ssize_t *order = <Py_ssize_t *>malloc(n * sizeof(Py_ssize_t) + 1)
    cdef PyObject *found
    try:
        if key is NULL or order is NULL:
            raise MemoryError
        for i in range(n):
            found = PyDict_GetItem(keys, names[i])
            if found is NULL:
                keys[names[i]] = crc32(names[i].encode())
                found = PyDict_GetItem(keys, names[i])
            key[i] = <int64>(<object>found)
        if n > MAX_INSERTED:
            return sorted(names, key=lambda name: (keys[name], name))
        for i in range(n):
            place = i
            while place > 0 and (
                key[order[place - 1]] > key[i]
                or (key[order[place - 1]] == key[i] and names[order[place - 1]] > names[i])
            ):
                order[place] = order[place - 1]
                place -= 1
            order[place] = i
        return [names[order[i]] for i in range(n)]
    finally:
        free(key)
        free(order)


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
    cdef Py_ssize_t n = cnp.PyArray_DIM(rows, 0), heads = cnp.PyArray_DIM(rates_per_s, 0)
    cdef Py_ssize_t capacity = cnp.PyArray_DIM(counts, 0), columns = 3 * heads, i, h, clicks = 0
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
    for h in range(heads):
        left = left_after(rates[h], time_s - newest_s)
        weight = left_after(rates[h], newest_s - time_s)
        sum_of[h] = sum_of[h] * left + weight * clicks
        sum_of[heads + h] = sum_of[heads + h] * left + weight * n
        sum_of[2 * heads + h] = sum_of[2 * heads + h] * left + weight
    return max(newest_s, time_s)


cdef inline double log_hours(double now_s, double time_s) noexcept:
    cdef double hours = (now_s - time_s) / 3600.0
    return log1p(hours) * AGE_SCALE if hours > 0.0 else 0.0


def statistics_features(
    cnp.ndarray x not None,
    Py_ssize_t first,
    cnp.ndarray rows not None,
    double now_s,
    cnp.ndarray counts not None,
    cnp.ndarray times_s not None,
    cnp.ndarray rates_per_s not None,
    cnp.ndarray sums not None,
    double newest_s,
):
    cdef Py_ssize_t n = cnp.PyArray_DIM(rows, 0), capacity = cnp.PyArray_DIM(counts, 0), i, h, at
    cdef int64 *row = <int64 *>data_of(rows, cnp.NPY_INT64, 1, n, 0)
    cdef double *values = <double *>data_of(x, cnp.NPY_FLOAT64, 2, n, -1)
    cdef double *all_counts = <double *>data_of(counts, cnp.NPY_FLOAT64, 2, capacity, 3 * HEADS)
    cdef double *all_times = <double *>data_of(times_s, cnp.NPY_FLOAT64, 2, capacity, TIMES)
    cdef double *rates = <double *>data_of(rates_per_s, cnp.NPY_FLOAT64, 1, HEADS, 0)
    cdef double *sum_of = <double *>data_of(sums, cnp.NPY_FLOAT64, 2, 3, HEADS)
    cdef Py_ssize_t columns = cnp.PyArray_DIM(x, 1)
    cdef double[HEADS] of_clicks, of_expected, clicks, shown, expected
    cdef double age_s, left, offset = log(PRIOR_LIFT)
    cdef double *count
    cdef double *time
    cdef double *out
    refuse_rows_outside(row, n, -1, capacity)
    if not 0 <= first <= columns - STATISTICS:
        raise IndexError(f"{STATISTICS} columns from {first} on, of {columns}")
    for h in range(HEADS):
        left = left_after(rates[h], now_s - newest_s)
        clicks[h] = max(sum_of[h] * left, 0.0)
        of_clicks[h] = (max(sum_of[HEADS + h] * left, 0.0) + GLOBAL_PRIOR_IMPRESSIONS) / (
            clicks[h] + GLOBAL_PRIOR_CLICKS
        )
        of_expected[h] = (clicks[h] + 1.0) / (max(sum_of[2 * HEADS + h] * left, 0.0) + 1.0)
    for i in range(n):
        at = row[i] if row[i] >= 0 else capacity - 1
        count = all_counts + at * 3 * HEADS
        time = all_times + at * TIMES
        out = values + i * columns + first
        age_s = now_s - time[LAST_EVENT]
        for h in range(HEADS):
            left = left_after(rates[h], age_s)
            clicks[h] = count[h] * left
            shown[h] = count[HEADS + h] * left
            expected[h] = count[2 * HEADS + h] * left
            out[h] = log(
                (clicks[h] * of_clicks[h] + PRIOR_LIFT * PRIOR_IMPRESSIONS) / (shown[h] + PRIOR_IMPRESSIONS)
            ) - offset
            out[HEADS + h] = log((clicks[h] + PRIOR_EXPECTED) / (expected[h] * of_expected[h] + PRIOR_EXPECTED))
        out[8] = log((clicks[1] / 3.0 + TREND_PRIOR) / (clicks[2] / 24.0 + TREND_PRIOR)) / 3.0
        out[9] = log(shown[3] + 1.0) / 5.0
        out[10] = log(shown[1] + 1.0) / 5.0
        out[11] = log(shown[0] + 1.0) / 5.0
        out[12] = shown[3] == 0.0
        out[13] = clicks[3] == 0.0
        out[14] = log_hours(now_s, time[FIRST_SEEN] if isnan(time[PUBLISHED]) else time[PUBLISHED])
        out[15] = log_hours(now_s, time[LAST_EVENT])
        out[16] = log_hours(now_s, time[LAST_CLICK])


def add_co_clicks(cnp.ndarray held not None, cnp.ndarray context not None, cnp.ndarray of_contexts not None):
    cdef Py_ssize_t k = cnp.PyArray_DIM(held, 1) if cnp.PyArray_NDIM(held) > 1 else 0
    cdef Py_ssize_t m = cnp.PyArray_DIM(context, 0), i, j, joined = 0
    cdef int32 *numbers = <int32 *>data_of(held, cnp.NPY_INT32, 2, 2, k)
    cdef int64 *before = <int64 *>data_of(context, cnp.NPY_INT64, 1, m, 0)
    cdef Py_ssize_t capacity = cnp.PyArray_DIM(of_contexts, 0)
    cdef int64 *clicks_after = <int64 *>data_of(of_contexts, cnp.NPY_INT64, 1, capacity, 0)
    cdef int32 *counts = numbers + k
    cdef cnp.npy_intp[2] shape
    cdef cnp.ndarray grown
    cdef int32 *out
    refuse_rows_outside(before, m, 0, capacity)
    cdef int32 *new = <int32 *>malloc(m * sizeof(int32) + 1)
    if new is NULL:
        raise MemoryError
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
    cdef Py_ssize_t n = len(contexts), m = cnp.PyArray_DIM(recent, 0), slots = 8, i, j, k, held, slot, mask
    cdef int64 *number_of = <int64 *>data_of(recent, cnp.NPY_INT64, 1, m, 0)
    cdef Py_ssize_t numbers = cnp.PyArray_DIM(of_contexts, 0)
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
    # So large that most numbers fall on an empty slot at once.
    while slots < 16 * m:
        slots *= 2
    mask = slots - 1
    # A hash table of the user's clicks by number, and of each of them what a candidate has.
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
            held = cnp.PyArray_DIM(counts, 1)
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
            # In the order of the user's clicks, in which sums of floats are the same in every process.
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


def order_slates(cnp.ndarray scores not None, cnp.ndarray sizes not None):
    cdef cnp.npy_intp total = cnp.PyArray_DIM(scores, 0), slates = cnp.PyArray_DIM(sizes, 0)
    cdef double *score = <double *>data_of(scores, cnp.NPY_FLOAT64, 1, total, 0)
    cdef Py_ssize_t *size = <Py_ssize_t *>data_of(sizes, cnp.NPY_INTP, 1, slates, 0)
    cdef cnp.ndarray found = cnp.PyArray_EMPTY(1, &total, cnp.NPY_INTP, 0)
    cdef Py_ssize_t *order = <Py_ssize_t *>cnp.PyArray_DATA(found)
    cdef Py_ssize_t slate, start = 0, stop, i, place
    cdef double[MAX_INSERTED] best
    cdef double value
    for slate in range(slates):
        if not 0 <= size[slate] <= total - start:
            raise ValueError(f"slates of more candidates than the {total} scores")
        stop = start + size[slate]
        if size[slate] > MAX_INSERTED:
            found[start:stop] = start + np.argsort(-scores[start:stop])
        else:
            for i in range(start, stop):
                value = score[i]
                place = i - start
                while place > 0 and best[place - 1] < value:
                    best[place] = best[place - 1]
                    order[start + place] = order[start + place - 1]
                    place -= 1
                best[place] = value
                order[start + place] = i
        start = stop
    if start != total:
        raise ValueError(f"slates of {start} candidates, but {total} scores")
    return found


def slate_auc(cnp.ndarray labels not None, cnp.ndarray scores not None, cnp.ndarray sizes not None):
    cdef cnp.npy_intp total = cnp.PyArray_DIM(scores, 0), slates = cnp.PyArray_DIM(sizes, 0)
    cdef double *label = <double *>data_of(labels, cnp.NPY_FLOAT64, 1, total, 0)
    cdef double *score = <double *>data_of(scores, cnp.NPY_FLOAT64, 1, total, 0)
    cdef Py_ssize_t *size = <Py_ssize_t *>data_of(sizes, cnp.NPY_INTP, 1, slates, 0)
    cdef cnp.ndarray areas = cnp.PyArray_EMPTY(1, &slates, cnp.NPY_FLOAT64, 0)
    cdef double *area = <double *>cnp.PyArray_DATA(areas)
    cdef Py_ssize_t slate, start = 0, stop, i, j, clicked
    cdef double below
    for slate in range(slates):
        if not 0 <= size[slate] <= total - start:
            raise ValueError(f"slates of more candidates than the {total} scores")
        stop = start + size[slate]
        clicked, below = 0, 0.0
        for i in range(start, stop):
            if label[i] == 0.0:
                continue
            clicked += 1
            for j in range(start, stop):
                if label[j] == 0.0:
                    below += 0.5 * (score[j] <= score[i]) + 0.5 * (score[j] < score[i])
        area[slate] = below / (<double>clicked * (stop - start - clicked))
        start = stop
    if start != total:
        raise ValueError(f"slates of {start} candidates, but {total} scores")
    return areas


def category_features(
    cnp.ndarray x not None,
    Py_ssize_t first,
    cnp.ndarray rows not None,
    double now_s,
    recent not None,
    dict row_of not None,
    tuple codes not None,
    tuple shares not None,
    cnp.ndarray lift not None,
):
    cdef Py_ssize_t n = cnp.PyArray_DIM(rows, 0), m = len(recent), columns = cnp.PyArray_DIM(x, 1)
    cdef Py_ssize_t capacity = cnp.PyArray_DIM(codes[0], 0), names = cnp.PyArray_DIM(lift, 0), i, k
    cdef int64 *row = <int64 *>data_of(rows, cnp.NPY_INT64, 1, n, 0)
    cdef double *out = <double *>data_of(x, cnp.NPY_FLOAT64, 2, n, -1)
    cdef int32 *code_of = <int32 *>data_of(codes[0], cnp.NPY_INT32, 1, capacity, 0)
    cdef double *lift_of = <double *>data_of(lift, cnp.NPY_FLOAT64, 1, names, 0)
    cdef double *everybody
    cdef double *share
    cdef PyObject *found
    cdef double time_s, total
    cdef bint known = False
    cdef int32 code
    refuse_rows_outside(row, n, -1, capacity)
    if not 0 <= first <= columns - CATEGORIES:
        raise IndexError(f"{CATEGORIES} columns from {first} on, of {columns}")
    out += first
    for i in range(n):
        code = code_of[row[i] if row[i] >= 0 else capacity - 1]
        if not 0 <= code < names:
            raise IndexError(f"category {code} of {names}")
        out[i * columns + 2] = lift_of[code]
        known = known or code != 0
    if not known or not m:
        return
    cdef double *weights = <double *>malloc(m * sizeof(double))
    cdef int64 *clicked = <int64 *>malloc(m * sizeof(int64))
    share = NULL
    try:
        if weights is NULL or clicked is NULL:
            raise MemoryError
        for i in range(m):
            click = recent[i]
            time_s = click[0]
            weights[i] = exp2((time_s - now_s) / AFFINITY_HALF_LIFE_S) if time_s < now_s else 1.0
            found = PyDict_GetItem(row_of, click[1])
            clicked[i] = capacity - 1 if found is NULL else <int64>(<object>found)
        refuse_rows_outside(clicked, m, 0, capacity)
        for k in range(2):
            names = cnp.PyArray_DIM(shares[k], 0)
            code_of = <int32 *>data_of(codes[k], cnp.NPY_INT32, 1, capacity, 0)
            everybody = <double *>data_of(shares[k], cnp.NPY_FLOAT64, 1, names, 0)
            free(share)
            share = <double *>malloc(names * sizeof(double) + 1)
            if share is NULL:
                raise MemoryError
            for i in range(names):
                share[i] = 0.0
            total = 0.0
            for i in range(m):
                code = code_of[clicked[i]]
                if not 0 <= code < names:
                    raise IndexError(f"category {code} of {names}")
                if code:
                    share[code] += weights[i]
                    total += weights[i]
            if total == 0.0:
                continue
            for i in range(n):
                code = code_of[row[i] if row[i] >= 0 else capacity - 1]
                if not 0 <= code < names:
                    raise IndexError(f"category {code} of {names}")
                if code:
                    out[i * columns + k] = log(
                        (share[code] / everybody[code] + AFFINITY_PRIOR_CLICKS) / (total + AFFINITY_PRIOR_CLICKS)
                    )
    finally:
        free(weights)
        free(clicked)
        free(share)


def cross_features(cnp.ndarray x not None, Py_ssize_t ranked, Py_ssize_t rank, products not None):
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), columns = cnp.PyArray_DIM(x, 1)
    cdef Py_ssize_t i, low, high, middle, below, column, product
    cdef double *values = <double *>data_of(x, cnp.NPY_FLOAT64, 2, n, columns)
    cdef double factor
    cdef float value
    cdef cnp.npy_intp size = n
    cdef cnp.ndarray rounded = cnp.PyArray_EMPTY(1, &size, cnp.NPY_FLOAT32, 0)
    cdef float *ordered = <float *>cnp.PyArray_DATA(rounded)
    if not (0 <= ranked < columns and 0 <= rank < columns):
        raise IndexError(f"columns {ranked} and {rank} of {columns}")
    for i in range(n):
        ordered[i] = <float>values[i * columns + ranked]
    rounded.sort()
    for i in range(n):
        value = <float>values[i * columns + ranked]
        low, high = 0, n
        while low < high:
            middle = (low + high) // 2
            if ordered[middle] < value:
                low = middle + 1
            else:
                high = middle
        below, high = low, n
        while low < high:
            middle = (low + high) // 2
            if ordered[middle] <= value:
                low = middle + 1
            else:
                high = middle
        values[i * columns + rank] = (below + low) / (2.0 * n) - 0.5
    for column, product, factor in products:
        if not (0 <= column < columns and 0 <= product < columns):
            raise IndexError(f"columns {column} and {product} of {columns}")
        for i in range(n):
            values[i * columns + product] = values[i * columns + column] * factor


def newton_step(
    cnp.ndarray x not None,
    cnp.ndarray clicked not None,
    cnp.ndarray weights not None,
    cnp.ndarray curvature not None,
    double left,
    double prior,
):
    cdef Py_ssize_t n = cnp.PyArray_DIM(clicked, 0), i, a, b, clicks = 0
    cdef cnp.npy_intp size = cnp.PyArray_DIM(weights, 0)
    cdef cnp.npy_intp[2] shape
    cdef float *inputs = <float *>data_of(x, cnp.NPY_FLOAT32, 2, n, size)
    cdef cnp.npy_bool *is_clicked = <cnp.npy_bool *>data_of(clicked, cnp.NPY_BOOL, 1, n, 0)
    cdef double *weight = <double *>data_of(weights, cnp.NPY_FLOAT64, 1, size, 0)
    cdef double *before = <double *>data_of(curvature, cnp.NPY_FLOAT64, 2, size, size)
    shape[0] = shape[1] = size
    cdef cnp.ndarray steps = cnp.PyArray_EMPTY(1, &size, cnp.NPY_FLOAT64, 0)
    cdef cnp.ndarray hessians = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT64, 0)
    cdef double *step = <double *>cnp.PyArray_DATA(steps)
    cdef double *after = <double *>cnp.PyArray_DATA(hessians)
    cdef double *shares = <double *>malloc((n + 2 * size + size * size) * sizeof(double) + 1)
    cdef double *mean = shares + n
    cdef double *row = mean + size
    cdef double *factor = row + size
    cdef double largest = -INFINITY, total = 0.0, value
    if shares is NULL:
        raise MemoryError
    try:
        for i in range(n):
            value = 0.0
            for a in range(size):
                value += inputs[i * size + a] * weight[a]
            shares[i] = value
            largest = max(largest, value)
            clicks += is_clicked[i]
        for i in range(n):
            shares[i] = exp(shares[i] - largest)
            total += shares[i]
        for a in range(size):
            mean[a] = step[a] = 0.0
        for i in range(n):
            shares[i] /= total
            for a in range(size):
                mean[a] += shares[i] * inputs[i * size + a]
            if is_clicked[i]:
                for a in range(size):
                    step[a] -= inputs[i * size + a]
        total = 0.0
        for a in range(size):
            step[a] = mean[a] + step[a] / clicks
            total += step[a]
        if not isfinite(total):
            return None
        # What is below the diagonal is filled in at the end.
        for a in range(size):
            for b in range(a, size):
                after[a * size + b] = before[a * size + b] * left
            after[a * size + a] += (1.0 - left) * prior
        for i in range(n):
            for a in range(size):
                row[a] = inputs[i * size + a] - mean[a]
            for a in range(size):
                value = shares[i] * row[a]
                if value != 0.0:
                    for b in range(a, size):
                        after[a * size + b] += value * row[b]
        for a in range(size):
            for b in range(a, size):
                factor[a * size + b] = after[b * size + a] = after[a * size + b]
        # Cholesky's factorization of what is above the diagonal, so that the inner loops run along rows.
        for a in range(size):
            value = factor[a * size + a]
            if not 0.0 < value < INFINITY:
                return None
            value = 1.0 / sqrt(value)
            for b in range(a, size):
                factor[a * size + b] *= value
            for i in range(a + 1, size):
                value = factor[a * size + i]
                if value != 0.0:
                    for b in range(i, size):
                        factor[i * size + b] -= value * factor[a * size + b]
        for a in range(size):
            step[a] /= factor[a * size + a]
            for b in range(a + 1, size):
                step[b] -= factor[a * size + b] * step[a]
        total = 0.0
        for a in range(size - 1, -1, -1):
            value = step[a]
            for b in range(a + 1, size):
                value -= factor[a * size + b] * step[b]
            step[a] = value / factor[a * size + a]
            total += step[a]
        return (steps, hessians) if isfinite(total) else None
    finally:
        free(shares)
