"""What pyproject.toml cannot say: the modules that are compiled."""

import numpy as np
from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            f"freshet.models.kernels.compiled.{name}",
            [f"models/kernels/compiled/{name}.pyx"],
            include_dirs=[np.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
            extra_compile_args=["-O3"],
            # Without a C compiler the package is installed all the same, and computes with NumPy alone.
            optional=True,
        )
        for name in ("counts", "features", "ranking")
    ],
    options={
        "build_ext": {
            "parallel": True,
            # No folder is called freshet, so that Cython would look for what the modules share in vain.
            "cython_include_dirs": ["models/kernels/compiled"],
            "cython_c_in_temp": True,
        }
    },
)
