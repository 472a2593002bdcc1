"""What code of 2016 imports, and names only in functions that `implementations` makes raise."""
