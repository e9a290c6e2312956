"""The program's version: one place, read by the build and by every file the program writes."""

VERSION = "0.1.0"
