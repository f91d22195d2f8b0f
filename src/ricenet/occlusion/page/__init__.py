"""Pages of explained predictions: one a subject, with a viewer, and a gallery of all."""

from ricenet.occlusion.page.gallery import GalleryEntry, gallery_page
from ricenet.occlusion.page.one_case import case_page
from ricenet.occlusion.page.templating import viewer_script
from ricenet.occlusion.page.thumbnails import thumbnail

__all__ = ["GalleryEntry", "case_page", "gallery_page", "thumbnail", "viewer_script"]
