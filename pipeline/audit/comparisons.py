"""What should have followed and did not: pure, one comparison a function. What is rejected or removed is at its end."""

from dataclasses import dataclass

from pipeline.audit.chain import Chain, Ends, Images
from pipeline.audit.gaps import Missing


@dataclass(frozen=True, slots=True)
class Kept:
    """What the catalogue has, as sets of image ids: documents with each of their parts, and vectors of the active generation."""

    documents: Images
    posts: Images
    originals: Images
    pictures: Images
    fingerprints: Images
    rejections: Images
    vectors: Images
    tombstones: Images


def missing_downloads(chain: Chain, ends: Ends) -> Missing:
    """Posted: it should be downloaded or rejected."""
    images = chain.posted - chain.downloaded - ends.rejected - ends.removed
    return Missing("not-downloaded", "posted, but neither downloaded nor rejected", "download", images)


def missing_pictures(chain: Chain, ends: Ends) -> Missing:
    """Downloaded: it should be preprocessed or rejected."""
    images = chain.downloaded - chain.preprocessed - ends.rejected - ends.removed
    return Missing("not-preprocessed", "downloaded, but not preprocessed", "preprocess", images)


def missing_fingerprints(chain: Chain, ends: Ends, generation: str) -> Missing:
    """Preprocessed: it should be fingerprinted in the active generation. One that is indexed got over any rejection."""
    images = chain.preprocessed - chain.fingerprinted - (ends.rejected - chain.indexed) - ends.removed
    return Missing("not-fingerprinted", f"preprocessed, but not fingerprinted in {generation}", "fingerprint", images)


def missing_vectors(chain: Chain, ends: Ends, generation: str) -> Missing:
    """Preprocessed: it should be embedded in the active generation. One that is indexed was, and got over any rejection."""
    images = chain.preprocessed - chain.embedded - (ends.rejected - chain.indexed) - ends.removed
    return Missing("not-embedded", f"preprocessed, but not embedded in {generation}", "embed", images)


def missing_ends(chain: Chain, ends: Ends) -> Missing:
    """Embedded: it should be indexed."""
    return Missing("not-indexed", "embedded, but not indexed", "persist", chain.embedded - chain.indexed - ends.removed)


def missing_documents(chain: Chain, ends: Ends, kept: Kept) -> Missing:
    """Posted: it should have a document."""
    images = chain.posted - kept.posts - ends.removed
    return Missing("no-document", "posted, but without a document in the catalogue", "persist", images)


def missing_parts(chain: Chain, ends: Ends, kept: Kept) -> Missing:
    """What became of it should be in its document. What has no document at all is another gap."""
    lacking = (chain.downloaded - kept.originals) | (chain.preprocessed - kept.pictures)
    lacking |= chain.fingerprinted - kept.fingerprints
    lacking |= (chain.rejected & chain.posted) - kept.rejections
    images = (lacking & kept.posts) - ends.removed
    return Missing("incomplete-document", "in the catalogue with a document that lacks parts", "persist", images)


def missing_kept_vectors(chain: Chain, ends: Ends, kept: Kept) -> Missing:
    """Embedded: the catalogue should have the vector."""
    images = (chain.embedded & kept.posts) - kept.vectors - ends.removed
    return Missing("no-vector", "embedded, but without its vector in the catalogue", "persist", images)


def undead(chain: Chain, kept: Kept) -> Missing:
    """Removed: the catalogue should have nothing but a tombstone."""
    images = chain.removed & (kept.documents | kept.vectors)
    return Missing("removed-catalogued", "removed, but still in the catalogue", "erase", images)


def unburied(chain: Chain, kept: Kept) -> Missing:
    """Removed: the catalogue should know that, lest a replay bring it back."""
    images = chain.removed - kept.tombstones - kept.documents - kept.vectors
    return Missing("no-tombstone", "removed, but without a tombstone in the catalogue", "persist", images)


def unknown(ends: Ends, kept: Kept) -> Images:
    """In the catalogue, though it was never posted."""
    return kept.documents - ends.posted - ends.removed
