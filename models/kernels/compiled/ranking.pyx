# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Ranking kernels in Cython; in_numpy/ranking.py defines each of them."""

import numpy as np

cimport numpy as cnp
from arrays cimport MAX_INSERTED, data_of, length_of
from libc.math cimport INFINITY, exp, isfinite, sqrt
from libc.stdlib cimport free, malloc

cnp.import_array()


def order_slates(cnp.ndarray scores not None, cnp.ndarray sizes not None):
    cdef cnp.npy_intp total = length_of(scores, 0), slates = length_of(sizes, 0)
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
    cdef cnp.npy_intp total = length_of(scores, 0), slates = length_of(sizes, 0)
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
        # Pairs of a clicked and a skipped candidate in the right order; a tie counts one half.
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


def newton_step(
    cnp.ndarray x not None,
    cnp.ndarray clicked not None,
    cnp.ndarray weights not None,
    cnp.ndarray curvature not None,
    double left,
    double prior,
):
    cdef Py_ssize_t n = length_of(clicked, 0), i, a, b, clicks = 0
    cdef cnp.npy_intp size = length_of(weights, 0)
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
        # Softmax over the slate: shares (n,).
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
        # Gradient (F,): mean features under the shares less those of the clicked candidates.
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
        # Curvature (F, F): what is left of it, the prior, and the covariance of the features under the shares.
        # Only the upper triangle is summed; the lower one is filled in at the end.
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
        # Cholesky factorization of the upper triangle, so that the inner loops run along rows.
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
        # Forward, then backward substitution.
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
