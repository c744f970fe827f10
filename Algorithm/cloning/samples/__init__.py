"""What supervised learning reads: labelled samples of datasets, arrays and DAgger's rounds."""
