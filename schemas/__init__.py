"""The vocabulary that every other room speaks: configuration, records and errors.

Imports numpy and pydantic only, so that reading a configuration costs no torch and no database.
"""
