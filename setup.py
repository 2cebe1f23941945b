"""What pyproject.toml cannot say: the packages, and the modules that are compiled."""

import numpy as np
from setuptools import Extension, find_namespace_packages, setup

# The three folders are the three sub-packages of one namespace, so that nothing as general as `models` lands
# at the top of somebody's site-packages.
FOLDERS = ("models", "streams", "workers")

setup(
    packages=[
        f"freshet.{package}"
        for folder in FOLDERS
        for package in (folder, *(f"{folder}.{below}" for below in find_namespace_packages(folder)))
        if not package.endswith("__pycache__")
    ],
    package_dir={f"freshet.{folder}": folder for folder in FOLDERS},
    package_data={"": ["*"]},
    exclude_package_data={"": ["*.so", "*.c"]},
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
