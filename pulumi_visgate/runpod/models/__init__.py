"""Wire models of Runpod API v2 and its job API, one module for each noun of the API."""
