"""Find the metadata blocks of each container format: JPEG, PNG, WebP and BMFF (HEIC, AVIF)."""
