"""From the kernel's text to numbers: pure functions of bytes, apart from any reading."""
