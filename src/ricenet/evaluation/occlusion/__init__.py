"""Where a network looks: how its probability changes when a small cube is hidden."""
