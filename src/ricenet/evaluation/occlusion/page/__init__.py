"""Pages of explained predictions: one a subject, with a viewer, and a gallery of all."""

from ricenet.evaluation.occlusion.page.gallery import GalleryEntry, gallery_page
from ricenet.evaluation.occlusion.page.one_case import case_page
from ricenet.evaluation.occlusion.page.templating import viewer_script
from ricenet.evaluation.occlusion.page.thumbnails import thumbnail

__all__ = ["GalleryEntry", "case_page", "gallery_page", "thumbnail", "viewer_script"]
