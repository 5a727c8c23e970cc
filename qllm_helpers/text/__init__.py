"""Sentences, splits, language-model bodies and their embeddings."""
