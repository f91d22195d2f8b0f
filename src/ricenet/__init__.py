"""RICE-NET: tumour recurrence or radiation-induced contrast enhancement, from two MRIs and a dose map."""

__version__ = "0.1.0"
