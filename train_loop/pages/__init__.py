# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pages for a browser: one file each, with all pictures in it.

Each page is a template of Jinja2 beside this file, on `base.html`; macros.html
has what several of them show, and `inline` is known to all. What is shown is
escaped, whatever a file or a class is called. Importing this imports no
TensorFlow.
"""

from __future__ import annotations

import base64
import io
import os
import pathlib
from typing import Any

import numpy as np

from train_loop.workdir.writing import readable, write_atomically


def write(path: str | os.PathLike[str], template: str, **values: Any) -> None:
  """Writes a page.

  Args:
    path: of the file, which ends with .html.
    template: its name, such as "check_labels.html".
    **values: what the template shows.

  Raises:
    ConfigError: the file cannot be written.
  """
  import jinja2

  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.globals["inline"] = inline
  text = environment.get_template(template).render(**values)
  write_atomically(path, readable(text))


def inline(image: np.ndarray | bytes) -> str:
  """Returns a picture as a data URL, for the `src` of an image.

  Args:
    image: [height, width, channels] uint8; of 2 channels or more than 3 the
      first is shown; or a PNG.
  """
  from PIL import Image

  if isinstance(image, np.ndarray):
    pixels = image if image.shape[-1] == 3 else image[..., 0]
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    image = content.getvalue()
  return f"data:image/png;base64,{base64.b64encode(image).decode()}"
