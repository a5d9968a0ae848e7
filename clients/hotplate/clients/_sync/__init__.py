"""The blocking clients, generated from `hotplate.clients._async`; never edited by hand."""
