"""Reading reviews: JSON lines, CSV, TSV and Parquet, plain or gzipped.

files.py finds the files, records.py reads records of any format (lines.py: JSON lines;
separated.py: CSV and TSV), fields.py takes a review's values from a record, and reading.py does all
of it.
"""

from descry.reviews.files import passed_over, review_files
from descry.reviews.reading import Review, read_reviews

__all__ = ["Review", "passed_over", "read_reviews", "review_files"]
