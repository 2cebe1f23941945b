"""Access to arrays through plain pointers, after checks that make it safe.

A typed memoryview costs half a microsecond, as much as the computation on most of these arrays. So each
kernel first checks types and shapes, and each number that is used as an index.
"""

cimport numpy as cnp

ctypedef cnp.int64_t int64
ctypedef cnp.int32_t int32

cdef enum:
    # Slates up to this size are sorted by insertion.
    MAX_INSERTED = 200


cdef inline Py_ssize_t length_of(cnp.ndarray array, int axis) noexcept:
    """Length of an array along an axis; -1 without such an axis, which data_of then rejects."""
    return cnp.PyArray_DIM(array, axis) if axis < cnp.PyArray_NDIM(array) else -1


cdef inline void *data_of(
    cnp.ndarray array, int type_number, int rank, Py_ssize_t rows, Py_ssize_t columns
) except NULL:
    """Pointer to an array's numbers; another type, order or shape (-1: any) is rejected."""
    if cnp.PyArray_TYPE(array) != type_number or not cnp.PyArray_IS_C_CONTIGUOUS(array):
        raise TypeError(f"an array of {array.dtype} that a kernel does not read, or not in C's order")
    if (
        cnp.PyArray_NDIM(array) != rank
        or (rows >= 0 and cnp.PyArray_DIM(array, 0) != rows)
        or (rank > 1 and columns >= 0 and cnp.PyArray_DIM(array, 1) != columns)
    ):
        raise ValueError(f"an array of shape {(<object>array).shape}, must be {(rows, columns)[:rank]}")
    return cnp.PyArray_DATA(array)


cdef inline int refuse_rows_outside(
    const int64 *rows, Py_ssize_t n, int64 first, Py_ssize_t capacity
) except -1:
    cdef Py_ssize_t i
    for i in range(n):
        if not first <= rows[i] < capacity:
            raise IndexError(f"row {rows[i]} is not between {first} and {capacity - 1}")
    return 0
