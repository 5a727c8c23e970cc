"""Estimators with the interface of scikit-learn on top of the heads."""
