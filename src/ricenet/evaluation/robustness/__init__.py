"""How a network's answer changes when its input is shifted, exchanged, degraded or missing."""
