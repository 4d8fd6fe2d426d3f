"""A small server for trying out and for tests, over TensorFlow's C++ runtime.

`session` is that runtime, `models` what is loaded, `answers` what a request
gets; `grpc_service` and `rest_service` speak TF Serving's two protocols.
"""
