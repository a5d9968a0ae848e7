"""Where block bytes live: segment files in memory and on SSD."""
