"""What pyproject.toml cannot say: the module that is compiled."""

import numpy as np
from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "freshet.models.kernels.compiled",
            ["models/kernels/compiled.pyx"],
            include_dirs=[np.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
            extra_compile_args=["-O3"],
            # Without a C compiler the package is installed all the same, and computes with NumPy alone.
            optional=True,
        )
    ]
)
