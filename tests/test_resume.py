"""Downloads that are killed, and downloads of very many addresses, as processes of their own.

SCALE=10000 KILLS=200 pytest tests/test_resume.py   is the size that was promised; the suite does
with a tenth of it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import answers
import numpy as np
import pytest
from corpus import ROOT, saved
from hosts import Hosts, Request, Wire
from PIL import Image

from bear_classifier.catalog import Catalog
from bear_classifier.schema import DUPLICATE, OK, PENDING, Source

SCALE = int(os.environ.get("SCALE", "1000"))  # addresses
