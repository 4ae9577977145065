"""CTranslate2 in this process: encoder-decoders, with weights of a byte each."""
