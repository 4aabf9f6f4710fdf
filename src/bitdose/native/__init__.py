"""Loops of a sweep in C, for those of its libraries' functions that it calls most; each is optional.

What is here gives a library's result to the last bit, in less time. Where the package was installed without
a C compiler there is none of it, ``library.load`` says None, and callers use the other way.

Sources lie beside this file; ``hatch_build.py`` compiles them when the package is installed. A library that
was compiled from other sources (after an update of an editable install) is not loaded.
"""
