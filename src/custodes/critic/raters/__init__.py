"""Raters of critiques that people, critics and teams wrote."""
