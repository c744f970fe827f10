# syntax=docker/dockerfile:1
# The toolkit with the pinned versions: for processors, or with DEVICE=cuda for NVIDIA GPUs.
#   docker build --tag vision-distillation .
#   docker run --rm --volume "$PWD:/work" vision-distillation demo
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm
ARG DEVICE=cpu

# OpenGL without a display, for frames; on a GPU the driver of the host brings its own.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libegl1 libgl1-mesa-dri libgl1 \
    && rm -rf /var/lib/apt/lists/*
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# The libraries have a layer of their own, which changes of the code leave as it is.
COPY install/image.sh requirements.txt /source/
RUN sh /source/image.sh libraries "$DEVICE"

COPY . /source
RUN sh /source/install/image.sh toolkit

# Anyone may run it, and write below their own folder.
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["vision-distillation"]
CMD ["--help"]
