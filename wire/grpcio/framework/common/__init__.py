"""Names that code generated in 2016 imports."""
