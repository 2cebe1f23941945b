# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Feature kernels in Cython; in_numpy/features.py defines each of them."""

from zlib import crc32

cimport numpy as cnp
from arrays cimport MAX_INSERTED, data_of, int32, int64, length_of, refuse_rows_outside
from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport PyObject
from libc.math cimport exp2, isnan, log, log1p
from libc.stdlib cimport free, malloc
from statistics_columns cimport FIRST_SEEN, LAST_CLICK, LAST_EVENT, PUBLISHED, TIMES, left_after

from freshet.models.kernels import priors as feature_priors

cnp.import_array()

cdef double PRIOR_IMPRESSIONS = feature_priors.PRIOR_IMPRESSIONS
cdef double PRIOR_LIFT = feature_priors.PRIOR_LIFT
cdef double PRIOR_EXPECTED = feature_priors.PRIOR_EXPECTED
cdef double TREND_PRIOR = feature_priors.TREND_PRIOR
cdef double GLOBAL_PRIOR_CLICKS = feature_priors.GLOBAL_PRIOR_CLICKS
cdef double GLOBAL_PRIOR_IMPRESSIONS = feature_priors.GLOBAL_PRIOR_IMPRESSIONS
cdef double AFFINITY_HALF_LIFE_S = feature_priors.AFFINITY_HALF_LIFE_S
cdef double AFFINITY_PRIOR_CLICKS = feature_priors.AFFINITY_PRIOR_CLICKS
cdef double AGE_SCALE = 1.0 / log(25.0)

cdef enum:
    HEADS = 4
    STATISTICS = 17
    CATEGORIES = 3


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
            return [name for _, name in sorted([(key[i], names[i]) for i in range(n)])]
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
    cdef Py_ssize_t n = length_of(rows, 0), capacity = length_of(counts, 0), i, h, at
    cdef int64 *row = <int64 *>data_of(rows, cnp.NPY_INT64, 1, n, 0)
    cdef double *values = <double *>data_of(x, cnp.NPY_FLOAT64, 2, n, -1)
    cdef double *all_counts = <double *>data_of(counts, cnp.NPY_FLOAT64, 2, capacity, 3 * HEADS)
    cdef double *all_times = <double *>data_of(times_s, cnp.NPY_FLOAT64, 2, capacity, TIMES)
    cdef double *rates = <double *>data_of(rates_per_s, cnp.NPY_FLOAT64, 1, HEADS, 0)
    cdef double *sum_of = <double *>data_of(sums, cnp.NPY_FLOAT64, 2, 3, HEADS)
    cdef Py_ssize_t columns = length_of(x, 1)
    cdef double[HEADS] of_clicks, of_expected, clicks, shown, expected
    cdef double age_s, left, offset = log(PRIOR_LIFT)
    cdef double *count
    cdef double *time
    cdef double *out
    refuse_rows_outside(row, n, -1, capacity)
    if not 0 <= first <= columns - STATISTICS:
        raise IndexError(f"{STATISTICS} columns from {first} on, of {columns}")
    # Factors of all articles' rates by half-life: impressions over clicks, and clicks over expected clicks.
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
        # By half-life: log of the click-through rate over everybody's, and of the lift.
        for h in range(HEADS):
            left = left_after(rates[h], age_s)
            clicks[h] = count[h] * left
            shown[h] = count[HEADS + h] * left
            expected[h] = count[2 * HEADS + h] * left
            out[h] = log(
                (clicks[h] * of_clicks[h] + PRIOR_LIFT * PRIOR_IMPRESSIONS) / (shown[h] + PRIOR_IMPRESSIONS)
            ) - offset
            out[HEADS + h] = log(
                (clicks[h] + PRIOR_EXPECTED) / (expected[h] * of_expected[h] + PRIOR_EXPECTED)
            )
        # Trend: clicks per hour of the last hours over those of the last day; then impressions and ages.
        out[8] = log((clicks[1] / 3.0 + TREND_PRIOR) / (clicks[2] / 24.0 + TREND_PRIOR)) / 3.0
        out[9] = log(shown[3] + 1.0) / 5.0
        out[10] = log(shown[1] + 1.0) / 5.0
        out[11] = log(shown[0] + 1.0) / 5.0
        out[12] = shown[3] == 0.0
        out[13] = clicks[3] == 0.0
        out[14] = log_hours(now_s, time[FIRST_SEEN] if isnan(time[PUBLISHED]) else time[PUBLISHED])
        out[15] = log_hours(now_s, time[LAST_EVENT])
        out[16] = log_hours(now_s, time[LAST_CLICK])


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
    if len(codes) != 2 or len(shares) != 2:
        raise ValueError(f"codes of {len(codes)} and shares of {len(shares)} kinds of categories, not 2")
    cdef Py_ssize_t n = length_of(rows, 0), m = len(recent), columns = length_of(x, 1)
    cdef Py_ssize_t capacity = length_of(codes[0], 0), names = length_of(lift, 0), i, k
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
        # Categories, then subcategories: the user's decayed share of clicks over everybody's.
        for k in range(2):
            names = length_of(shares[k], 0)
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
                        (share[code] / everybody[code] + AFFINITY_PRIOR_CLICKS)
                        / (total + AFFINITY_PRIOR_CLICKS)
                    )
    finally:
        free(weights)
        free(clicked)
        free(share)


def cross_features(cnp.ndarray x not None, Py_ssize_t ranked, Py_ssize_t rank, products not None):
    cdef Py_ssize_t n = length_of(x, 0), columns = length_of(x, 1)
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
    # Mean rank of equal values: the mean of the bounds of their range, by two binary searches.
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
