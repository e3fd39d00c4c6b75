# Both stages name the same image: the environment made in one refers to its Python in the other.
ARG PYTHON_IMAGE=python:3.11.16-slim-trixie

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# The locked packages first: a change of the project's own code leaves these layers as they are.
COPY requirements/build.txt requirements/production.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: \
        -r requirements/build.txt \
    && python -m venv --without-pip /opt/transfers \
    && /opt/build/bin/pip --python /opt/transfers/bin/python install \
        --require-hashes --only-binary :all: -r requirements/production.txt

COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/transfers/bin/python install --no-deps --no-index \
        /wheels/*.whl

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/transfers/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin transfers
COPY --from=builder /opt/transfers /opt/transfers
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["transfers"]
