#!/bin/bash
exec bash "$(dirname "$0")/../looks.sh" tiff-16-bit-min-is-white white8.tif plain.png white16.tif plain.png
