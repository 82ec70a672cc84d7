"""Decoding: CTranslate2 as the engine, and a small torch reference that it is tested against."""
