"""What runs did, on one page: run folders are read, never written, and become tables, figures and one HTML file."""
