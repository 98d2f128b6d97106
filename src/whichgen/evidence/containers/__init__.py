"""Find the metadata blocks of JPEG, PNG, WebP, HEIC, AVIF and JPEG XL files."""
