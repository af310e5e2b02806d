#!/bin/bash
exec bash "$(dirname "$0")/../looks.sh" bmp-zero-alpha v4.bmp plain.png
