#!/bin/bash
exec bash "$(dirname "$0")/../looks.sh" tiff-8-bit-palette map16.tif plain.png map8.tif plain.png
