"""What the stages need from the outside world. Each port has one behaviour suite, run against every adapter."""

from contracts.ports.answers import Answer, Answering, Found, Piece, Step
from contracts.ports.archive import Catalogue, CatalogueEntry, Document, Kept, Neighbour, VectorSearch
from contracts.ports.log import Alerts, Erasure, F, Journal, Posts
from contracts.ports.matching import Candidate, Compared, Comparing, Examined, FeatureSearch, Fingerprint, Fingerprinting
from contracts.ports.notices import Notice, Notifying
from contracts.ports.overview import Lag, Overseeing, Overview
from contracts.ports.pictures import BlobStore, Downloader, Encoder, ImageEncoder
from contracts.ports.state import Entry, State

__all__ = [
    "Alerts",
    "Answer",
    "Answering",
    "BlobStore",
    "Candidate",
    "Catalogue",
    "CatalogueEntry",
    "Compared",
    "Comparing",
    "Document",
    "Downloader",
    "Encoder",
    "Entry",
    "Erasure",
    "Examined",
    "F",
    "FeatureSearch",
    "Fingerprint",
    "Fingerprinting",
    "Found",
    "ImageEncoder",
    "Journal",
    "Kept",
    "Lag",
    "Neighbour",
    "Notice",
    "Notifying",
    "Overseeing",
    "Overview",
    "Piece",
    "Posts",
    "State",
    "Step",
    "VectorSearch",
]
